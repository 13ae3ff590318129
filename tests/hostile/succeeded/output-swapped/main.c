// Files that become links, and folders that become links, over and over, while the output is collected: by a
// process that was left behind for it.

#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void put(const char *name) {
    FILE *file = fopen(name, "w");
    if (file == NULL) exit(2);
    fputs("kept\n", file);
    fclose(file);
}

static void swap(const char *one, const char *other) {
    syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2 /* RENAME_EXCHANGE */);
}

int main(void) {
    if (chdir(getenv("HERMES_OUTPUT_DIR")) != 0) return 1;
    put("file");
    mkdir("folder", 0755);
    put("folder/passwd");
    if (symlink("/etc/passwd", "link") != 0 || symlink("/etc", "etc") != 0) return 3;
    puts("swapping");
    fflush(stdout);
    if (fork() != 0) return 0;
    setsid();
    signal(SIGTERM, SIG_IGN);
    if (fork() != 0) return 0;
    for (int fd = 0; fd < 3; fd++) close(fd);
    for (;;) {
        swap("file", "link");
        swap("folder", "etc");
    }
}
