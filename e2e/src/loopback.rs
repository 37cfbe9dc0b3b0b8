//! testcontainers publishes ports to the whole network; a password that is in this repository must
//! not be reachable from there.

use std::collections::HashMap;

use bollard::models::PortBinding;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};

pub(crate) trait Loopback {
    /// Publishes these ports, and no others, on 127.0.0.1.
    fn published_on_loopback(self, ports: Vec<u16>) -> ContainerRequest<GenericImage>;
}

impl Loopback for ContainerRequest<GenericImage> {
    fn published_on_loopback(self, ports: Vec<u16>) -> ContainerRequest<GenericImage> {
        self.with_host_config_modifier(move |host| {
            let binding = || PortBinding {
                host_ip: Some("127.0.0.1".to_owned()),
                host_port: Some(String::new()),
            };
            let bindings = ports
                .iter()
                .map(|port| (format!("{port}/tcp"), Some(vec![binding()])));
            host.port_bindings = Some(bindings.collect::<HashMap<_, _>>());
            host.publish_all_ports = Some(false);
        })
    }
}
