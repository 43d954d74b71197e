"""Addresses and patterns are different types (law 7): only what an administrator writes is parsed into a pattern."""

import tree

# Configuration (canonical texts of it in policy), the user file and the grant attribute, the command line.
ADMINISTRATORS = {
    "policy/address_pattern.cc": "the parser itself",
    "policy/ownership.cc": "[[grant]]",
    "policy/rule_index.cc": "logins of [[domain_rule]]",
    "proxy/auth/owned_names.cc": "the user file, grant_attribute",
    "proxy/command_explain.cc": "explain --owns",
}


def test_patterns_are_made_of_what_administrators_write():
    makers = {tree.relative(path) for path in tree.sources("policy", "proxy") if "AddressPattern::parse(" in path.read_text()}
    assert makers == ADMINISTRATORS.keys()


def test_attributes_that_users_edit_are_addresses():
    """In the backends what is granted comes from two places: the user file and grant_attribute."""
    callers = {tree.relative(path): path.read_text().count(" grant(account, ") for path in tree.sources("proxy/auth")
               if path.suffix == ".cc" and path.name != "owned_names.cc"}
    assert {name: count for name, count in callers.items() if count} == {"proxy/auth/ldap_backend.cc": 1, "proxy/auth/user_file.cc": 1}
