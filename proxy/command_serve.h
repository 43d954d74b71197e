// `portcullis serve`: the gateway itself.
#pragma once

namespace CLI {
class App;
}

namespace portcullis {

void add_serve_command(CLI::App& app);

}  // namespace portcullis
