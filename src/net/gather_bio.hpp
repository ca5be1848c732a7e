#pragma once

// Only for this folder's .cpp files.

#include <openssl/bio.h>

namespace understudy::net {

// An OpenSSL sink that gathers up to 128 KiB of TLS records before it sends them to the
// non-blocking socket `fd` (not owned), because one send per 16 KiB record costs a fifth of the
// throughput (measured: see README). Only BIO_flush is sure to send what was gathered; if the
// socket is full, it asks to be retried. Never raises SIGPIPE. Null: out of memory.
BIO* new_gathering_bio(int fd);

}  // namespace understudy::net
