// A cloud machine's metadata service gives its credentials away; and all other ways to the outside.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "denied.h"

static void tcp(const char *address, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &to.sin_addr);
    denied(address, connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof to));
}

static void tcp6(const char *address, int port) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, address, &to.sin6_addr);
    denied(address, connect(socket(AF_INET6, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof to));
}

static void udp(const char *address, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, address, &to.sin_addr);
    denied("udp", sendto(socket(AF_INET, SOCK_DGRAM, 0), "?", 1, 0, (struct sockaddr *)&to, sizeof to));
}

int main(void) {
    alarm(5);  // a packet that is dropped is no refusal
    tcp("169.254.169.254", 80);
    tcp6("fd00:ec2::254", 80);
    tcp("172.17.0.1", 22);
    tcp("127.0.0.1", 6379);
    udp("8.8.8.8", 53);
    denied("raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    denied("packet", socket(AF_PACKET, SOCK_RAW, 0));
    denied("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));  // to the hypervisor; knows no network namespaces
    return verdict();
}
