//! RESP2 and RESP3: bounded, resumable decoding and encoding. Pure: no sockets, no clock.
