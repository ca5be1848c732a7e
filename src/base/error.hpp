#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::base {

// What a caller does about an error. Set where the error is born; levels above only add their step.
enum class ErrorKind {
    unavailable,  // the other side, a device or a service does not answer: retry with backoff
    conflict,     // the world changed under the plan: plan again
    unsupported,  // this can never work here with this VM, disk or version
    invalid,      // the request itself is wrong (unknown name, malformed value)
    not_found,    // the named thing does not exist (a special case of invalid)
    refused,      // a promise would break; the message says which and what to do
    no_space,     // storage is full; retry after room was made
    corrupt,      // bytes are not what they must be: stop, keep the evidence
    cancelled,    // the operator or a clean shutdown asked to stop
    internal,     // a defect of Understudy
};

std::string_view to_string(ErrorKind kind);
ErrorKind error_kind_from(std::string_view text);  // unknown text gives internal

// One failure, told for the operator: "STEP: STEP: what failed. KEPT ADVICE".
// A value type; no library's own error type or exception crosses an adapter.
class [[nodiscard]] Error {
public:
    Error(ErrorKind kind, std::string what) : kind_(kind), what_(std::move(what)) {}

    ErrorKind kind() const { return kind_; }
    const std::string& what() const { return what_; }      // the innermost fact
    const std::string& kept() const { return kept_; }      // what survives ("41 GiB received")
    const std::string& advice() const { return advice_; }  // what to do next

    // Adds the step in which this happened; the outermost step comes first in the text.
    // By value, so that `e = std::move(e).during(…)` is no self-move.
    Error during(std::string_view step) &&;
    Error keeping(std::string kept) &&;
    Error advising(std::string advice) &&;  // the innermost advice stays if there is one

    std::string step_text() const;  // "send web1: publish vda: no space left"
    std::string text() const;       // step_text, then what was kept, then the advice

private:
    ErrorKind kind_;
    std::string what_;
    std::vector<std::string> steps_;  // innermost first
    std::string kept_;
    std::string advice_;
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorKind kind, std::string what) {
    return std::unexpected(Error(kind, std::move(what)));
}
inline std::unexpected<Error> fail(Error error) {
    return std::unexpected(std::move(error));
}

// The error of a result that has one, to be handed up as it is: `return error_of(found);`. The
// result is not used after that.
template <class T>
std::unexpected<Error> error_of(std::expected<T, Error>& failed) {
    return std::unexpected(std::move(failed).error());
}

// The kind that an errno of a file or socket operation stands for (ENOSPC, EDQUOT → no_space,
// ENOENT → not_found, ECONNRESET … → unavailable, else internal), with strerror in the text.
Error errno_error(int error_number, std::string_view what);

// Ends the process with context: an invariant is broken, and every task can resume.
[[noreturn]] void broken_invariant(std::string_view what, const char* file, int line);

}  // namespace understudy::base

#define UNDERSTUDY_INVARIANT(condition, what)                                               \
    do {                                                                                    \
        if (!(condition)) ::understudy::base::broken_invariant((what), __FILE__, __LINE__); \
    } while (false)

// Hands an error up after adding the step; for expressions whose value is not needed.
#define UNDERSTUDY_TRY(expression)                                         \
    do {                                                                   \
        if (auto understudy_result_ = (expression); !understudy_result_)   \
            return std::unexpected(std::move(understudy_result_.error())); \
    } while (false)

// The value of a result, or else hands its error up from the function in which this stands:
//   const auto vm = UNDERSTUDY_VALUE(site.catalog.vm(id));
// A GNU statement expression: it gives a value, so that nothing dangles. Only as the whole right
// side of a declaration or an assignment, never inside another expression (tools/tidy).
#define UNDERSTUDY_VALUE(...)                                                                 \
    __extension__({                                                                           \
        auto understudy_value_ = (__VA_ARGS__);                                               \
        if (!understudy_value_) return std::unexpected(std::move(understudy_value_).error()); \
        *std::move(understudy_value_);                                                        \
    })

namespace understudy {
using base::errno_error;
using base::Error;
using base::error_of;
using base::ErrorKind;
using base::fail;
using base::Result;
}  // namespace understudy
