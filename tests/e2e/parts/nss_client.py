"""A mail client whose TLS is NSS, as in Thunderbird: libcurl's build with it, which Debian ships as a library only.

    nss_client.py URL CA LOGIN PASSWORD FROM TO 1.2|1.3     sends standard input twice, each time by a new connection
"""

import ctypes
import sys

_CURL = ctypes.CDLL("libcurl-nss.so.4")
_CURL.curl_easy_init.restype = ctypes.c_void_p
_CURL.curl_slist_append.restype = ctypes.c_void_p
_CURL.curl_version.restype = ctypes.c_char_p
_CURL.curl_easy_strerror.restype = ctypes.c_char_p
_READ = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)

# curl/curl.h: 0 + n is a long, 10000 + n a pointer, 20000 + n a function.
_OPTIONS = {"verbose": 41, "sslversion": 32, "upload": 46, "forbid_reuse": 75, "use_ssl": 119, "url": 10002, "cainfo": 10065,
            "username": 10173, "password": 10174, "mail_from": 10186, "mail_rcpt": 10187, "readfunction": 20012}


def main(url, ca, login, password, sender, recipient, version):
    text = sys.stdin.buffer.read()
    left = [b""]

    @_READ
    def read(buffer, size, items, _):
        piece, left[0] = left[0][:size * items], left[0][size * items:]
        ctypes.memmove(buffer, piece, len(piece))
        return len(piece)

    _CURL.curl_global_init(ctypes.c_long(3))
    curl = ctypes.c_void_p(_CURL.curl_easy_init())
    recipients = ctypes.c_void_p(_CURL.curl_slist_append(None, recipient.encode()))
    values = {"verbose": 1, "upload": 1, "forbid_reuse": 1, "use_ssl": 3, "sslversion": {"1.2": 6, "1.3": 7}[version] << 16 | {"1.2": 6, "1.3": 7}[version], "url": url, "cainfo": ca, "username": login,
              "password": password, "mail_from": sender, "mail_rcpt": recipients, "readfunction": read}
    for name, value in values.items():
        value = ctypes.c_long(value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value
        if code := _CURL.curl_easy_setopt(curl, ctypes.c_int(_OPTIONS[name]), value):
            sys.exit(f"{name}: {_CURL.curl_easy_strerror(code).decode()}")
    print(_CURL.curl_version().decode())
    for _ in range(2):
        left[0] = text
        if code := _CURL.curl_easy_perform(curl):
            sys.exit(_CURL.curl_easy_strerror(code).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
