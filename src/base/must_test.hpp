#pragma once

#include "base/error.hpp"

#include <stdexcept>
#include <type_traits>
#include <utility>

namespace understudy::base {

// For tests: the value, or the end of the test with the error's text.
template <class T>
T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text());
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace understudy::base

namespace understudy {
using base::must;
}  // namespace understudy
