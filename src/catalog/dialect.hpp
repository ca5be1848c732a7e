#pragma once

#include "base/error.hpp"
#include "catalog/database.hpp"
#include "catalog/open_catalog.hpp"

#include <memory>
#include <string>

namespace soci {
class session;     // NOLINT(readability-identifier-naming)
class soci_error;  // NOLINT(readability-identifier-naming)
}  // namespace soci

namespace understudy::catalog {

// All that differs between the databases; every other file of this room is written once for both.
class Dialect {
public:
    virtual ~Dialect() = default;

    // Connects and sets what a session needs to be durable and to enforce references.
    // Throws soci_error; gives an error of its own for what it finds out without the database.
    virtual Result<> connect(soci::session&) = 0;

    // Begins a transaction that cannot fail later because another one wrote in between.
    virtual Query begin_writing() const = 0;

    // What a library's error means for the operator. Never shows parameters, which may be secrets.
    virtual Error explain(const soci::soci_error&) const = 0;

    virtual std::string place() const = 0;  // for texts: "the catalog /var/lib/…/catalog.db"
};

std::unique_ptr<Dialect> sqlite_dialect(const CatalogSettings&);

}  // namespace understudy::catalog
