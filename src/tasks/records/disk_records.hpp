#pragma once

#include "model/vm.hpp"
#include "ports/storage.hpp"
#include "tasks/records/record.hpp"

namespace understudy::tasks {

// Where a disk's bytes are, as a task has to find them again. Version 0 had no more than the first
// three of a disk in Ceph, which the driver does not need to find an image.
struct KeptSource {
    std::string type = {};
    std::string format = {};
    std::string location = {};
    std::vector<std::string> monitors = {};
    std::string user = {};
    std::string secret = {};

    static KeptSource of(const ports::DiskSource& source) {
        return {source.type,     source.format, source.location,
                source.monitors, source.user,   source.secret};
    }
    ports::DiskSource source() const { return {type, format, location, monitors, user, secret}; }

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("type", self.type);
        field.required("format", self.format);
        field.required("location", self.location);
        field("monitors", self.monitors);
        field("user", self.user);
        field("secret", self.secret);
    }
};

// A stopped VM's disk that may soon be on another file, as it was before its volume was touched.
struct FollowedDisk {
    std::string target = {};
    std::string from = {};  // the location that the VM was defined with

    template <class Self, class Field>
    static void fields(Self& self, Field& field) {
        field.required("target", self.target);
        field.required("from", self.from);
    }
};

// Disks whose definition has still to follow a merge. Part of the memo of each kind that merges.
using FollowedDisks = std::map<VolumeId, FollowedDisk>;

}  // namespace understudy::tasks
