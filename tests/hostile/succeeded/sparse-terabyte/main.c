// A terabyte that takes no room on the disk: it must not take any of ours.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    if (chdir(getenv("HERMES_OUTPUT_DIR")) != 0) return 1;
    int fd = open("terabyte", O_CREAT | O_WRONLY, 0644);
    if (ftruncate(fd, 1L << 40) != 0) return 2;
    if (pwrite(fd, "end", 3, (1L << 40) - 3) != 3) return 3;
    puts("a terabyte");
    return 0;
}
