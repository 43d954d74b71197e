// The tables of the configuration, one function each; their rows are in rows_*.cc. To add a key: add
// its row there and the field it fills; then write the reference anew (see docs/configuration.md).
#pragma once

#include "proxy/config/config.h"
#include "proxy/config/table.h"

namespace portcullis::config {

// What the file fills: the configuration, and what only serves to fill it.
struct Draft {
  Config config;
  ListenerLimits limits;  // [limits]: where the limits of each listener start
};

const Table<Draft>& file_table();

const Table<Listener>& listener_table();
const Table<Draft>& limits_table();
const Table<Upstream>& upstream_table();
const Table<Tls>& tls_table();
const Table<Config>& auth_table();
const Table<policy::Settings>& policy_table();
const Table<policy::ConnectionRule>& connections_table();
const Table<policy::Grant>& grant_table();
const Table<policy::DomainRule>& domain_rule_table();
const Table<policy::UsageRule>& usage_table();
const Table<policy::RateRule>& rate_table();
const Table<policy::Network>& network_table();
const Table<metrics::JournalSettings>& journal_table();
const Table<Admin>& metrics_table();
const Table<Config>& state_table();

}  // namespace portcullis::config
