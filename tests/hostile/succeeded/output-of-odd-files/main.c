// An output directory of everything that is no regular file; only regular ones are kept, and no link is followed.

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static void put(const char *name, const char *text) {
    FILE *file = fopen(name, "w");
    if (file == NULL) exit(2);
    fputs(text, file);
    fclose(file);
}

static void listen_at(const char *name) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 1) != 0) exit(3);
}

int main(void) {
    if (chdir(getenv("HERMES_OUTPUT_DIR")) != 0) return 1;
    put("file", "kept\n");
    int bad = symlink("/etc/passwd", "passwd") | symlink("/proc/self/environ", "environ") | symlink("/", "root") |
              symlink("../../../../../../etc", "up") | symlink("loop", "loop") | symlink("file", "to-file");
    bad |= mkdir("folder", 0755) | symlink("/etc", "folder/etc") | symlink("..", "folder/up");
    bad |= link("file", "hard") | mkfifo("fifo", 0666);
    bad |= getuid() != 0 && link("/etc/passwd", "hard-passwd") == 0;  // another file system, another owner
    listen_at("socket");
    if (mknod("device", S_IFCHR | 0666, makedev(1, 3)) != 0) puts("no device");
    return bad;
}
