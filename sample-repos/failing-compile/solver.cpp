// Does not compile, on purpose: a name is misspelt, and the pusher must see the compiler say so.
// If it did, it would print the square root of 2 by Newton's method, x → x - f(x) / f'(x)
// (https://en.wikipedia.org/wiki/Newton%27s_method).

#include <cmath>
#include <iostream>

double square_root(double a, double tolerance) {
    double x = a;
    while (std::fabs(x * x - a) > tolerence) x -= (x * x - a) / (2 * x);
    return x;
}

int main() { std::cout << "sqrt(2) = " << square_root(2.0, 1e-12) << '\n'; }
