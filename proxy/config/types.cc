// Numbers, durations, sizes, words and texts. Addresses and patterns are in types_address.cc.
#include "proxy/config/types.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>

#include "smtp/limits.h"

namespace portcullis::config {

namespace {

constexpr std::size_t text_octets_max = 1000;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 5> time_units{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<Unit, 9> size_units{{{"TiB", 1ULL << 40},
                                          {"GiB", 1ULL << 30},
                                          {"MiB", 1ULL << 20},
                                          {"KiB", 1ULL << 10},
                                          {"GB", 1'000'000'000},
                                          {"MB", 1'000'000},
                                          {"kB", 1000},
                                          {"KB", 1000},
                                          {"B", 1}}};

// "90s" -> 90, "s"; what follows the digits up to the next digit is the unit. Drops it from `text`.
std::optional<std::pair<std::uint64_t, std::string_view>> take_quantity(std::string_view& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  const auto length = std::min(text.find_first_of("0123456789"), text.size());
  const std::string_view unit = text.substr(0, length);
  text.remove_prefix(length);
  return std::pair{number, unit};
}

template <std::size_t N>
std::optional<std::uint64_t> scaled(std::uint64_t number, std::string_view unit,
                                    const std::array<Unit, N>& units) {
  const auto found = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == unit; });
  if (found == units.end()) return std::nullopt;
  if (number > std::numeric_limits<std::uint64_t>::max() / found->factor) return std::nullopt;
  return number * found->factor;
}

// "1h30m" in milliseconds; units from large to small, each once.
std::optional<std::uint64_t> parse_duration_ms(std::string_view text) {
  std::uint64_t total = 0, last_factor = std::numeric_limits<std::uint64_t>::max();
  do {
    const auto quantity = take_quantity(text);
    if (!quantity) return std::nullopt;
    const auto part = scaled(quantity->first, quantity->second, time_units);
    const auto factor = scaled(1, quantity->second, time_units);
    if (!part || !factor || *factor >= last_factor || *part > UINT64_MAX - total) return std::nullopt;
    last_factor = *factor;
    total += *part;
  } while (!text.empty());
  return total;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const auto quantity = take_quantity(text);
  if (!quantity || !text.empty()) return std::nullopt;
  std::string_view unit = quantity->second;
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  return scaled(quantity->first, unit, size_units);
}

std::string show_range(std::uint64_t minimum, std::uint64_t maximum, std::string (*show)(std::uint64_t)) {
  return fmt::format("{} to {}", show(minimum), show(maximum));
}

std::string show_number(std::uint64_t number) { return fmt::format("{}", number); }

std::string quoted(const std::string& text) { return '"' + text + '"'; }

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::expected<std::string, std::string> checked_text(const std::string& text) {
  if (has_control(text)) return std::unexpected("control characters are not allowed here");
  if (text.size() > text_octets_max)
    return std::unexpected(fmt::format("longer than {} octets", text_octets_max));
  return text;
}

// The one line of a file that holds a secret, or what is wrong with it.
std::expected<std::string, std::string> read_secret(const std::string& file) {
  struct stat status{};
  if (stat(file.c_str(), &status) != 0) return std::unexpected("there is no file \"" + file + "\"");
  if (!S_ISREG(status.st_mode)) return std::unexpected("\"" + file + "\" is not a regular file");
  if ((status.st_mode & S_IROTH) != 0) {
    return std::unexpected("\"" + file + "\" can be read by everybody on this machine; chmod o-r it");
  }
  std::ifstream stream(file, std::ios::binary);
  std::string line(smtp::limits::secret_octets + 2, '\0');
  stream.read(line.data(), static_cast<std::streamsize>(line.size()));
  if (stream.bad() || !stream.is_open()) return std::unexpected("cannot read \"" + file + "\"");
  line.resize(static_cast<std::size_t>(stream.gcount()));
  while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
  if (line.empty() || line.size() > smtp::limits::secret_octets || has_control(line)) {
    return std::unexpected("\"" + file + "\" is not one line with a secret");
  }
  return line;
}

}  // namespace

std::string show_duration(std::uint64_t milliseconds) {
  if (milliseconds == 0) return "0s";
  std::string shown;
  for (const Unit& unit : time_units) {
    if (const std::uint64_t number = milliseconds / unit.factor; number != 0) {
      shown += fmt::format("{}{}", number, unit.name);
      milliseconds -= number * unit.factor;
    }
  }
  return shown;
}

std::string show_size(std::uint64_t octets) {
  for (const Unit& unit : size_units) {
    if (unit.name.size() == 3 && octets >= unit.factor && octets % unit.factor == 0) {
      return fmt::format("{}{}", octets / unit.factor, unit.name);
    }
  }
  return fmt::format("{}B", octets);
}

Type<bool> boolean() {
  auto read = [](Reader& reader, const Value& value, const std::string& key, bool& out) {
    if (value.kind != Value::Kind::boolean) return reader.expected(value, key, "true or false");
    out = value.boolean;
  };
  return {"boolean", {}, read, [](const bool& b) -> std::string { return b ? "true" : "false"; }};
}

Type<std::uint64_t> count(std::uint64_t minimum, std::uint64_t maximum) {
  const std::string range = show_range(minimum, maximum, show_number);
  auto read = [=](Reader& reader, const Value& value, const std::string& key, std::uint64_t& out) {
    if (value.kind != Value::Kind::integer) return reader.expected(value, key, "an integer from " + range);
    if (value.integer < 0 || static_cast<std::uint64_t>(value.integer) < minimum ||
        static_cast<std::uint64_t>(value.integer) > maximum) {
      return reader.error(value.at, key, fmt::format("{} is not in the range {}", value.integer, range));
    }
    out = static_cast<std::uint64_t>(value.integer);
  };
  return {"integer", range, read, show_number};
}

Type<std::uint64_t> duration(std::uint64_t unit_ms, std::uint64_t minimum, std::uint64_t maximum) {
  const std::string range = show_range(minimum * unit_ms, maximum * unit_ms, show_duration);
  auto read = [=](Reader& reader, const Value& value, const std::string& key, std::uint64_t& out) {
    const std::string_view wanted = "a duration such as \"30s\", \"5m\" or \"1h30m\"";
    if (value.kind != Value::Kind::string) return reader.expected(value, key, wanted);
    const auto parsed = parse_duration_ms(value.text);
    if (!parsed) return reader.error(value.at, key, fmt::format("\"{}\" is not {}", value.text, wanted));
    if (*parsed % unit_ms != 0) {
      return reader.error(value.at, key,
                          fmt::format("\"{}\" is not a multiple of {}", value.text, show_duration(unit_ms)));
    }
    if (*parsed / unit_ms < minimum || *parsed / unit_ms > maximum) {
      return reader.error(value.at, key, fmt::format("\"{}\" is not in the range {}", value.text, range));
    }
    out = *parsed / unit_ms;
  };
  return {"duration", range, read,
          [unit_ms](const std::uint64_t& units) { return quoted(show_duration(units * unit_ms)); }};
}

Type<std::uint64_t> seconds(std::uint64_t minimum, std::uint64_t maximum) {
  return duration(1000, minimum, maximum);
}

Type<std::uint64_t> milliseconds(std::uint64_t minimum, std::uint64_t maximum) {
  return duration(1, minimum, maximum);
}

Type<std::uint64_t> size(std::uint64_t minimum_octets, std::uint64_t maximum_octets) {
  const std::string range = show_range(minimum_octets, maximum_octets, show_size);
  auto read = [=](Reader& reader, const Value& value, const std::string& key, std::uint64_t& out) {
    const std::string_view wanted = "a size such as \"50MiB\" or a number of octets";
    std::optional<std::uint64_t> parsed;
    if (value.kind == Value::Kind::string) {
      parsed = parse_size(value.text);
      if (!parsed) return reader.error(value.at, key, fmt::format("\"{}\" is not {}", value.text, wanted));
    } else if (value.kind == Value::Kind::integer && value.integer >= 0) {
      parsed = static_cast<std::uint64_t>(value.integer);
    } else {
      return reader.expected(value, key, wanted);
    }
    if (*parsed < minimum_octets || *parsed > maximum_octets) {
      return reader.error(value.at, key, fmt::format("{} is not in the range {}", show_size(*parsed), range));
    }
    out = *parsed;
  };
  return {"size", range, read, [](const std::uint64_t& octets) { return quoted(show_size(octets)); }};
}

Type<std::string> text() { return text_type<std::string>("text", "a string", checked_text, quoted); }

Type<std::string> some_text() {
  auto parse = [](const std::string& text) -> std::expected<std::string, std::string> {
    if (text.empty()) return std::unexpected("must not be empty");
    return checked_text(text);
  };
  return text_type<std::string>("text", "a string", parse, quoted);
}

Type<std::string> path() {
  Type<std::string> type = text_type<std::string>("path", "a path", checked_text, quoted);
  type.read = [read = type.read](Reader& reader, const Value& value, const std::string& key,
                                 std::string& out) {
    std::string relative;
    read(reader, value, key, relative);
    if (!relative.empty()) out = reader.absolute(relative);
  };
  return type;
}

Type<std::string> secret() {
  return text_type<std::string>("secret", "a string", checked_text,
                                [](const std::string&) { return "\"\""; });
}

Type<std::string> secret_file() {
  Type<std::string> type = path();
  type.read = [read = type.read](Reader& reader, const Value& value, const std::string& key,
                                 std::string& out) {
    if (!out.empty())
      return reader.error(value.at, key, "the secret is already given; use one of the two keys");
    std::string file;
    read(reader, value, key, file);
    if (file.empty()) return;
    auto content = read_secret(file);
    if (!content) return reader.error(value.at, key, std::move(content.error()));
    out = std::move(*content);
  };
  type.show = [](const std::string&) { return "\"\""; };
  return type;
}

Type<std::string> name() {
  auto parse = [](const std::string& text) -> std::expected<std::string, std::string> {
    const bool good = !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    });
    if (!good) {
      return std::unexpected("\"" + text + "\" is not a name: letters, digits, '.', '_' and '-', at most 64");
    }
    return text;
  };
  return text_type<std::string>("name", "a name", parse, quoted);
}

Type<char> one_character() {
  auto parse = [](const std::string& text) -> std::expected<char, std::string> {
    if (text.empty()) return '\0';
    if (text.size() != 1 || std::string_view("+-_=~!#%&.").find(text[0]) == std::string_view::npos) {
      return std::unexpected("expected one of + - _ = ~ ! # % & . or an empty string");
    }
    return text[0];
  };
  return text_type<char>("character", "one character", parse,
                         [](const char& c) { return c == '\0' ? "\"\"" : quoted(std::string(1, c)); });
}

Type<policy::Mode> mode() {
  return choice<policy::Mode>(
      {{"enforce", policy::Mode::enforce}, {"shadow", policy::Mode::shadow}, {"off", policy::Mode::off}});
}

namespace {

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::optional<policy::RateUnit> unit_named(std::string_view word) {
  if (word == "message" || word == "messages") return policy::RateUnit::messages;
  if (word == "recipient" || word == "recipients") return policy::RateUnit::recipients;
  if (word == "byte" || word == "bytes") return policy::RateUnit::bytes;
  return std::nullopt;
}

constexpr std::array<std::pair<std::string_view, std::uint32_t>, 3> periods{
    {{"minute", 60}, {"hour", 3600}, {"day", 86400}}};

std::optional<RateLimit> parse_rate(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view period = trimmed(text.substr(slash + 1));
  std::string_view what = trimmed(text.substr(0, slash));
  RateLimit rate;
  const auto* known =
      std::find_if(periods.begin(), periods.end(), [&](const auto& p) { return p.first == period; });
  if (known == periods.end()) return std::nullopt;
  rate.period_seconds = known->second;
  if (const auto octets = parse_size(what)) {
    rate.amount = *octets;
    rate.unit = policy::RateUnit::bytes;
  } else {
    const auto quantity = take_quantity(what);
    if (!quantity || !what.empty()) return std::nullopt;
    const auto unit = unit_named(trimmed(quantity->second));
    if (!unit) return std::nullopt;
    rate.amount = quantity->first;
    rate.unit = *unit;
  }
  if (rate.amount == 0 || rate.amount > (1ULL << 50)) return std::nullopt;
  return rate;
}

std::string show_rate(const RateLimit& rate) {
  const std::string_view unit = rate.unit == policy::RateUnit::messages     ? "messages"
                                : rate.unit == policy::RateUnit::recipients ? "recipients"
                                                                            : "bytes";
  const auto* period = std::find_if(periods.begin(), periods.end(),
                                    [&](const auto& p) { return p.second == rate.period_seconds; });
  return fmt::format("\"{} {}/{}\"", rate.amount, unit, period == periods.end() ? "day" : period->first);
}

}  // namespace

Type<RateLimit> rate_limit() {
  auto parse = [](const std::string& text) -> std::expected<RateLimit, std::string> {
    const auto rate = parse_rate(text);
    if (!rate) {
      return std::unexpected("\"" + text +
                             "\" is not a rate such as \"500 recipients/day\", \"30 messages/minute\" or "
                             "\"2GiB/hour\"");
    }
    return *rate;
  };
  return text_type<RateLimit>("rate", "a rate such as \"500 recipients/day\"", parse, show_rate);
}

}  // namespace portcullis::config
