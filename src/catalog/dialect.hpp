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

// All that differs between databases. Every other file of this folder is written once for all.
class Dialect {
public:
    virtual ~Dialect() = default;

    // Connects, and sets what makes a session durable and enforces references. Throws soci_error if
    // the database fails; gives an Error for what is found out without the database.
    virtual Result<> connect(soci::session&) = 0;

    // The statement that begins a transaction which cannot fail later because of another writer.
    virtual Query begin_writing() const = 0;

    // What a library's error means for the operator. Never shows parameters, which may be secrets.
    virtual Error explain(const soci::soci_error&) const = 0;

    virtual std::string place() const = 0;  // for texts: "the catalog /var/lib/…/catalog.db"
};

std::unique_ptr<Dialect> sqlite_dialect(const CatalogSettings&);

}  // namespace understudy::catalog
