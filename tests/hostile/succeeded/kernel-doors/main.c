// System calls that no program of a lab needs and that kernels have been taken over by.

#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "denied.h"

int main(void) {
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    denied("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map));
    struct perf_event_attr clock = {.type = PERF_TYPE_SOFTWARE, .size = sizeof clock, .exclude_kernel = 1};
    denied("perf_event_open", syscall(SYS_perf_event_open, &clock, 0, -1, -1, 0));
    denied("userfaultfd", syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */));
    denied("init_module", syscall(SYS_init_module, "", 0L, ""));
    denied("kexec_load", syscall(SYS_kexec_load, 0L, 0L, NULL, 0L));
    denied("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, "\0\0\0\0\0\0\0\0", O_RDONLY));
    denied("syslog", syscall(SYS_syslog, 3, (char[64]){0}, 64));
    denied("swapon", syscall(SYS_swapon, "main.c", 0));
    denied("settimeofday", settimeofday(&(struct timeval){.tv_sec = 1}, NULL));
    denied("sethostname", sethostname("owned", 5));
    denied("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));  // disables ctrl-alt-del, no more
    denied("quotactl", syscall(SYS_quotactl, 0x800001 << 8, NULL, 0, NULL));
    denied("alg socket", socket(AF_ALG, SOCK_SEQPACKET, 0));
    return verdict();
}
