// A million empty files, in the working copy and in the output.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fill(const char *where) {
    char name[32];
    int made = 0, fd = 0;
    if (chdir(where) != 0) exit(1);
    for (; made < 1000000 && fd >= 0; made++) {
        snprintf(name, sizeof name, "%d", made);
        fd = open(name, O_CREAT | O_WRONLY, 0644);
        if (fd >= 0) close(fd);
    }
    int is_bounded = errno == ENOSPC && made < 1000000;
    printf("%s after %d files\n", strerror(errno), made);
    if (!is_bounded) exit(2);
}

int main(void) {
    fill("/app");
    if (unlink("0") != 0) return 3;
    for (int i = 1; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d", i);
        unlink(name);
    }
    fill(getenv("HERMES_OUTPUT_DIR"));
    return 0;
}
