// Ends with a segmentation fault, after a line that must not be lost:
//
//     about to write to address 0

#include <iostream>

int main() {
    volatile int* nowhere = nullptr;  // volatile: the compiler must keep the write
    std::cout << "about to write to address 0" << std::endl;
    *nowhere = 42;
    std::cout << "still alive" << std::endl;
}
