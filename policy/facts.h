// What a decision may look at. Views and pointers are valid during the call only.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>

#include "policy/identity.h"
#include "policy/ip.h"
#include "smtp/header.h"
#include "smtp/mime.h"
#include "smtp/params.h"
#include "smtp/path.h"

namespace portcullis::policy {

// Wall clock, seconds since the epoch: counters must survive a restart.
using WallTime = std::chrono::sys_seconds;

struct ClientFacts {
  IpAddress address;
  std::string_view listener;
  std::uint16_t listener_index = 0;
  bool tls = false;
  const Account* account = nullptr;  // null: not authenticated
  // What the session did so far, before this transaction.
  std::uint64_t session_messages = 0;
  std::uint64_t session_recipients = 0;
};

struct TransactionFacts {
  const smtp::Path* reverse_path = nullptr;
  const smtp::MailParameters* mail_parameters = nullptr;
  std::span<const smtp::Path> recipients;  // accepted so far
};

struct ContentFacts {
  std::uint64_t octets = 0;  // content, without our Received field
  smtp::MimeFacts mime;
};

}  // namespace portcullis::policy
