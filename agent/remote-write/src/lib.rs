//! The sink `remote_write`: samples to whoever speaks the Prometheus remote write protocol, 1.0 and 2.0.
