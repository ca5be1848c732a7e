#pragma once

// Only for this folder's .cpp files.

#include <openssl/bio.h>

namespace understudy::net {

// An OpenSSL sink that gathers up to 128 KiB of TLS records before it sends them to the
// non-blocking socket `fd` (not owned), because a send per 16 KiB record costs a fifth of the
// throughput (measured: see README). What was gathered leaves for certain only with BIO_flush,
// which asks to be retried when the socket is full. Never raises SIGPIPE. Null: out of memory.
BIO* new_gathering_bio(int fd);

}  // namespace understudy::net
