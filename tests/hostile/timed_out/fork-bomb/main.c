// Every process makes processes, and works.

#include <unistd.h>

int main(void) {
    for (;;) fork();
}
