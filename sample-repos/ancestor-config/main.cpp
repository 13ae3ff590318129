// A function as the first Hermes knew it: described by hermes.config.json, its input on stdin.
//
// Adds up the numbers it reads, and prints:
//
//     count 3, sum 6, mean 2
//
// Without input it takes the numbers from 1 to 100, whose sum is n · (n + 1) / 2 = 5050
// (https://en.wikipedia.org/wiki/Triangular_number).

#include <iostream>
#include <iterator>
#include <numeric>
#include <unistd.h>
#include <vector>

std::vector<double> numbers_on_stdin() {
    if (isatty(STDIN_FILENO)) return {};
    return {std::istream_iterator<double>{std::cin}, {}};
}

int main() {
    std::vector<double> numbers = numbers_on_stdin();
    if (numbers.empty()) {
        numbers.resize(100);
        std::iota(numbers.begin(), numbers.end(), 1.0);
    }
    const double sum = std::accumulate(numbers.begin(), numbers.end(), 0.0);
    std::cout << "count " << numbers.size() << ", sum " << sum << ", mean "
              << sum / numbers.size() << '\n';
}
