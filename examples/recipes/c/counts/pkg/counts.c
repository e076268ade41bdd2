#include <tally.h>

int main(void)
{
    struct tally_word *words;
    size_t length = tally_read(stdin, &words);

    for (size_t i = 0; i < length; i++)
        printf("%zu %s\n", words[i].count, words[i].text);
    tally_free(words, length);
    return 0;
}
