// Takes memory until there is none, in children as well: whichever of them the kernel picks, the box is over its limit.

#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    for (int i = 0; i < 4; i++) fork();
    for (;;) {
        char *more = malloc(1 << 20);
        if (more != NULL) memset(more, 1, 1 << 20);
    }
}
