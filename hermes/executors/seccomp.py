"""The system calls that a program in a container may make: a list of what is allowed, as engines read it.

An engine's own list depends on its age: 20.10 lets io_uring through, which does what it is asked where no
filter looks, and sockets of every kind, also those to the hypervisor, which no network namespace holds back.

Allowed is what Linux 6.1 has (x86-64; arm64 has no other), without what reaches beyond the box: keyrings,
io_uring, mounts and other roots, namespaces, what changes or watches the kernel (bpf, perf_event_open,
userfaultfd, modules, kexec, reboot, syslog, swap, quota, acct), clocks and names of the machine, ports of the
processor, files by handle, where memory lies (mbind, move_pages, …), descriptors and memory of others
(pidfd_getfd, kcmp, process_madvise). ptrace stays, for debuggers and sanitizers: nobody else is in the box.
Calls that are newer than the list are answered with ENOSYS by runc, so that libraries fall back."""

import json
from typing import Any

_ALLOWED = """
read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore madvise
shmget shmat shmctl dup dup2 pause nanosleep getitimer alarm setitimer getpid sendfile connect accept sendto
recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt fork
vfork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync
fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link unlink symlink
readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo times ptrace getuid
getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups
setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset rt_sigpending
rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime mknod statfs fstatfs getpriority setpriority
sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max
sched_get_priority_min sched_rr_get_interval mlock munlock mlockall munlockall modify_ldt prctl arch_prctl
adjtimex setrlimit sync gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr
llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex sched_setaffinity
sched_getaffinity set_thread_area io_setup io_destroy io_getevents io_submit io_cancel get_thread_area
epoll_create remap_file_pages getdents64 set_tid_address restart_syscall semtimedop fadvise64 timer_create
timer_settime timer_gettime timer_getoverrun timer_delete clock_gettime clock_getres clock_nanosleep
exit_group epoll_wait epoll_ctl tgkill utimes mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
mq_getsetattr waitid ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch openat mkdirat
mknodat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat
pselect6 ppoll set_robust_list get_robust_list splice tee sync_file_range vmsplice utimensat epoll_pwait
signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2
epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo recvmmsg fanotify_mark prlimit64
name_to_handle_at clock_adjtime syncfs sendmmsg getcpu process_vm_readv process_vm_writev sched_setattr
sched_getattr renameat2 seccomp getrandom memfd_create execveat membarrier mlock2 copy_file_range preadv2
pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq pidfd_send_signal pidfd_open
close_range openat2 faccessat2 epoll_pwait2 landlock_create_ruleset landlock_add_rule landlock_restrict_self
memfd_secret process_mrelease futex_waitv
"""
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_SOCKETS = (_UNIX, _INET, _INET6, _NETLINK)
_NAMESPACES = 0x7E020000  # CLONE_NEW*: mount, cgroup, UTS, IPC, user, PID, network
_PERSONALITIES = (0, 0xFFFFFFFF, 0x0040000)  # Linux; "which is it?"; no random layout, for debuggers
_ENOSYS = 38


def _rule(name: str, operation: str, value: int, second: int = 0) -> dict[str, Any]:
    """Allowed where the first argument compares so."""
    condition = {"index": 0, "op": operation, "value": value, "valueTwo": second}
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [condition]}


def _profile() -> dict[str, Any]:
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": _ALLOWED.split(), "action": "SCMP_ACT_ALLOW"},
            *[_rule("socket", "SCMP_CMP_EQ", family) for family in _SOCKETS],
            *[_rule("personality", "SCMP_CMP_EQ", each) for each in _PERSONALITIES],
            _rule("clone", "SCMP_CMP_MASKED_EQ", _NAMESPACES),
            # its flags lie in memory, where no filter sees them; libraries then use clone
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
        ],
    }


PROFILE = json.dumps(_profile())
