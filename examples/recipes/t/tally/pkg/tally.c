#include "tally.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_BYTES_MAX = 127 };

static int by_count(const void *left, const void *right)
{
    const struct tally_word *a = left, *b = right;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return strcmp(a->text, b->text);
}

static void count(struct tally_word **words, size_t *length, const char *text)
{
    for (size_t i = 0; i < *length; i++) {
        if (strcmp((*words)[i].text, text) == 0) {
            (*words)[i].count++;
            return;
        }
    }
    struct tally_word *more = realloc(*words, (*length + 1) * sizeof **words);
    char *copy = malloc(strlen(text) + 1);
    if (more == NULL || copy == NULL)
        abort();
    strcpy(copy, text);
    more[*length] = (struct tally_word){ copy, 1 };
    *words = more;
    *length += 1;
}

size_t tally_read(FILE *from, struct tally_word **words)
{
    char word[WORD_BYTES_MAX + 1];
    size_t length = 0, filled = 0;
    int c;

    *words = NULL;
    do {
        c = fgetc(from);
        if (c != EOF && isalpha(c)) {
            if (filled < WORD_BYTES_MAX)
                word[filled++] = (char)tolower(c);
        } else if (filled > 0) {
            word[filled] = '\0';
            count(words, &length, word);
            filled = 0;
        }
    } while (c != EOF);
    if (length > 0)
        qsort(*words, length, sizeof **words, by_count);
    return length;
}

void tally_free(struct tally_word *words, size_t length)
{
    for (size_t i = 0; i < length; i++)
        free(words[i].text);
    free(words);
}
