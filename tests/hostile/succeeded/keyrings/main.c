// The kernel's keyrings belong to a user id, not to a container: one box could leave a note for the next.

#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

#include "denied.h"

enum { JOIN_SESSION_KEYRING = 1, SEARCH = 10, USER_KEYRING = -4, SESSION_KEYRING = -3 };

int main(void) {
    denied("add_key", syscall(SYS_add_key, "user", "note", "secret", 6L, USER_KEYRING));
    denied("request_key", syscall(SYS_request_key, "user", "note", NULL, SESSION_KEYRING));
    denied("keyctl join", syscall(SYS_keyctl, JOIN_SESSION_KEYRING, "shared"));
    denied("keyctl search", syscall(SYS_keyctl, SEARCH, USER_KEYRING, "user", "note", 0));
    return verdict();
}
