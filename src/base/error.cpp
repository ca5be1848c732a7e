#include "base/error.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

// Errors as texts: the names of the kinds, which travel to peers and stay as they are; the order in
// which steps, fact, kept and advice are told; the kind of an errno. broken_invariant writes one
// line to stderr and aborts: after that, tasks go on at the next start. Otherwise no I/O.

namespace understudy::base {
namespace {

constexpr std::array<std::pair<ErrorKind, std::string_view>, 10> kKindNames{{
    {ErrorKind::unavailable, "unavailable"},
    {ErrorKind::conflict, "conflict"},
    {ErrorKind::unsupported, "unsupported"},
    {ErrorKind::invalid, "invalid"},
    {ErrorKind::not_found, "not_found"},
    {ErrorKind::refused, "refused"},
    {ErrorKind::no_space, "no_space"},
    {ErrorKind::corrupt, "corrupt"},
    {ErrorKind::cancelled, "cancelled"},
    {ErrorKind::internal, "internal"},
}};

ErrorKind kind_of_errno(int error_number) {
    switch (error_number) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG: return ErrorKind::no_space;
        case ENOENT: return ErrorKind::not_found;
        case EEXIST: return ErrorKind::conflict;
        case EINVAL:
        case ENAMETOOLONG: return ErrorKind::invalid;
        case ECONNREFUSED:
        case ECONNRESET:
        case ECONNABORTED:
        case EPIPE:
        case ETIMEDOUT:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case EAGAIN:
        case EIO: return ErrorKind::unavailable;
        default: return ErrorKind::internal;
    }
}

}  // namespace

std::string_view to_string(ErrorKind kind) {
    for (const auto& [known, name] : kKindNames)
        if (known == kind) return name;
    return "internal";
}

ErrorKind error_kind_from(std::string_view text) {
    for (const auto& [known, name] : kKindNames)
        if (name == text) return known;
    return ErrorKind::internal;
}

Error Error::during(std::string_view step) && {
    steps_.emplace_back(step);
    return std::move(*this);
}

Error Error::keeping(std::string kept) && {
    kept_ = std::move(kept);
    return std::move(*this);
}

Error Error::advising(std::string advice) && {
    if (advice_.empty()) advice_ = std::move(advice);
    return std::move(*this);
}

std::string Error::step_text() const {
    std::string text;
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) text += *step + ": ";
    return text + what_;
}

std::string Error::text() const {
    std::string text = step_text();
    if (!kept_.empty()) text += ". Kept: " + kept_;
    if (!advice_.empty()) text += (text.ends_with('.') ? " " : ". ") + advice_;
    return text;
}

Error errno_error(int error_number, std::string_view what) {
    return Error(kind_of_errno(error_number),
                 fmt::format("{}: {}", what, std::strerror(error_number)));
}

void broken_invariant(std::string_view what, const char* file, int line) {
    std::fprintf(stderr, "understudy: broken invariant at %s:%d: %.*s\n", file, line,
                 static_cast<int>(what.size()), what.data());
    std::abort();
}

}  // namespace understudy::base
