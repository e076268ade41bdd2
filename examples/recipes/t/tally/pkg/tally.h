/* Counts how often each word occurs. */
#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>
#include <stdio.h>

struct tally_word {
    char *text;
    size_t count;
};

/* Reads words to the end of the stream; the most frequent comes first, equals by alphabet.
   Returns how many there are; the caller frees them with tally_free. */
size_t tally_read(FILE *from, struct tally_word **words);

void tally_free(struct tally_word *words, size_t length);

#endif
