// Prints one line each half second, to show that a log arrives while the program still runs:
//
//     tick 1 of 10
//     ...
//     tick 10 of 10
//
// After the fifth it counts up `resting  50 %` on a single line, by returning the carriage ('\r').
//
// The manifest is empty and names no handler: what runs is `make run`.

#include <chrono>
#include <iomanip>
#include <iostream>
#include <thread>

using namespace std::chrono_literals;

void rest() {
    for (int percent = 0; percent <= 100; percent += 10) {
        std::cout << "\rresting " << std::setw(3) << percent << " %" << std::flush;
        std::this_thread::sleep_for(50ms);
    }
    std::cout << std::endl;
}

int main() {
    constexpr int ticks = 10;
    for (int tick = 1; tick <= ticks; ++tick) {
        std::cout << "tick " << tick << " of " << ticks << std::endl;  // endl flushes
        std::this_thread::sleep_for(500ms);
        if (tick == ticks / 2) rest();
    }
}
