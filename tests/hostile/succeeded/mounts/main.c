// Mounts, by the old calls and the new ones, and another root.

#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "denied.h"

int main(void) {
    denied("mount tmpfs", mount("none", "/tmp", "tmpfs", 0, ""));
    denied("mount proc", mount("proc", "/tmp", "proc", 0, ""));
    denied("bind /", mount("/", "/tmp", "", MS_BIND | MS_REC, ""));
    denied("remount / writable", mount("", "/", "", MS_REMOUNT | MS_BIND, ""));
    denied("umount /proc", umount2("/proc", MNT_DETACH));
    denied("umount /app", umount2("/app", MNT_DETACH));
    denied("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    denied("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
    denied("pivot_root", syscall(SYS_pivot_root, ".", "."));
    denied("chroot", chroot("/tmp"));
    denied("write to /", open("/owned", O_CREAT | O_WRONLY, 0644));
    denied("write to /usr/bin/make", open("/usr/bin/make", O_WRONLY));
    return verdict();
}
