// Of an X.509 certificate what a sentence for an admin needs. Printable ASCII only, and bounded: certificates
// come from peers.
#pragma once

#include <chrono>
#include <string>

struct x509_st;
struct asn1_string_st;

namespace portcullis::auth {

std::string subject_of(x509_st* certificate);  // "CN=mx.example.com,O=Example"
std::string issuer_of(x509_st* certificate);
std::string names_of(x509_st* certificate);       // "a.example", "*.b.example", 192.0.2.1; "no name at all"
std::string date_of(const asn1_string_st* time);  // 2026-11-30
std::chrono::system_clock::time_point time_of(const asn1_string_st* time);

}  // namespace portcullis::auth
