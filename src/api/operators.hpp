#pragma once

#include "net/http_server.hpp"
#include "net/identity.hpp"
#include "tasks/replicas/receiving.hpp"

#include <functional>

namespace understudy::api {

// What the operators' API needs besides the site; all borrowed or copied, thread-safe.
struct OperatorsContext {
    tasks::Site& site;
    tasks::Receiving& receiving;
    net::Identity identity;
    std::string peers_address;  // as peers reach us, for invitations
    std::string api_address;    // empty: no HTTPS listener
    std::string hypervisor_uri;
    std::function<model::Capabilities()> capabilities;
};

// The operators' API (OPERATORS.md) over requests that were already authenticated. Thread-safe.
class Operators {
public:
    explicit Operators(OperatorsContext context);
    ~Operators();

    net::HttpResponse handle(const net::HttpRequest& request);

private:
    OperatorsContext context_;
};

net::HttpResponse error_response(const Error& error);

}  // namespace understudy::api
