// A million empty files in /tmp: no byte of any file, and still the memory of the machine.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    char name[32];
    for (int made = 0; made < 1000000; made++) {
        snprintf(name, sizeof name, "/tmp/%d", made);
        int fd = open(name, O_CREAT | O_WRONLY, 0644);
        if (fd < 0) {
            printf("%s after %d files\n", strerror(errno), made);
            return 3;
        }
        close(fd);
    }
    puts("a million files");
    return 0;
}
