// A hundred gigabytes into the output directory. A full disk is the program's own error, and what it got is not kept
// by halves.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char block[1 << 20];

int main(void) {
    if (chdir(getenv("HERMES_OUTPUT_DIR")) != 0) return 1;
    memset(block, 'x', sizeof block);
    int fd = open("hundred-gigabytes", O_CREAT | O_WRONLY, 0644);
    for (long written = 0; written < 100L << 30;) {
        ssize_t now = write(fd, block, sizeof block);
        if (now < 0) {
            puts(strerror(errno));
            return 3;
        }
        written += now;
    }
    return 0;
}
