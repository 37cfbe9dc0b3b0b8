//! What a container is, as plain data: read from one answer of Docker's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};

use crate::labels::Labels;
use crate::machine::size::{Cpus, Memory};
use crate::machine::state::State;

/// A container that exists.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Docker's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Id of the image it was made from.
    pub image_id: String,
    /// The reference it was made from.
    pub image: String,
    /// Its labels.
    pub labels: Labels,
    /// Its environment as configured, not as PID 1 may have changed it.
    pub env: BTreeMap<String, String>,
    /// What it runs, without arguments that follow.
    pub entrypoint: Vec<String>,
    /// Devices of the host that it was given: here, and there.
    pub devices: BTreeMap<String, String>,
    /// What it is doing.
    pub state: State,
    /// Its memory limit.
    pub memory: Option<Memory>,
    /// Its processor limit.
    pub cpus: Option<Cpus>,
    /// Host ports asked for, by container port: known while it is stopped, too.
    pub wanted_ports: BTreeMap<u16, u16>,
    /// Host ports in effect, by container port: empty while it is stopped.
    pub open_ports: BTreeMap<u16, u16>,
    /// The networks it is a member of: name to id.
    pub networks: BTreeMap<String, String>,
    /// The addresses that Docker gave it there: none while it is stopped.
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

impl Observed {
    /// Reads what matters here; whatever Docker leaves out reads as empty.
    pub(crate) fn from_answer(answer: ContainerInspectResponse) -> Self {
        let config = answer.config.unwrap_or_default();
        let host = answer.host_config.unwrap_or_default();
        let settings = answer.network_settings.unwrap_or_default();
        let positive =
            |figure: Option<i64>| u64::try_from(figure?).ok().filter(|figure| *figure > 0);
        let env = config.env.unwrap_or_default().into_iter();
        let devices = host.devices.unwrap_or_default().into_iter();
        let networks = settings.networks.unwrap_or_default();
        let addresses = networks.iter().filter_map(|(name, endpoint)| {
            let address = endpoint.ip_address.as_deref()?.parse().ok()?;
            Some((name.clone(), address))
        });
        let addresses = addresses.collect();
        Self {
            entrypoint: config.entrypoint.unwrap_or_default(),
            devices: devices
                .filter_map(|device| Some((device.path_in_container?, device.path_on_host?)))
                .collect(),
            id: answer.id.unwrap_or_default(),
            name: answer
                .name
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            image_id: answer.image.unwrap_or_default(),
            image: config.image.unwrap_or_default(),
            labels: config.labels.unwrap_or_default(),
            env: env
                .filter_map(|pair| {
                    pair.split_once('=')
                        .map(|(k, v)| (k.to_owned(), v.to_owned()))
                })
                .collect(),
            state: state(&answer.state.unwrap_or_default()),
            memory: positive(host.memory).map(Memory::from_bytes),
            cpus: positive(host.nano_cpus).map(Cpus::from_nanos),
            wanted_ports: ports(host.port_bindings.unwrap_or_default()),
            open_ports: ports(settings.ports.unwrap_or_default()),
            addresses,
            networks: networks
                .into_iter()
                .map(|(name, endpoint)| (name, endpoint.network_id.unwrap_or_default()))
                .collect(),
        }
    }
}

fn state(state: &ContainerState) -> State {
    use ContainerStateStatusEnum as Status;
    let crashed = State::Crashed {
        exit_code: state.exit_code.unwrap_or_default(),
        out_of_memory: state.oom_killed.unwrap_or_default(),
    };
    match state.status {
        Some(Status::RUNNING | Status::RESTARTING) => State::Running,
        Some(Status::PAUSED) => State::Paused,
        // Without a start there is no exit: Docker reports a container whose start failed as
        // "created" with the runtime's exit code.
        Some(Status::CREATED) => State::Created,
        Some(Status::EXITED) if state.exit_code == Some(0) => State::Stopped,
        Some(Status::EXITED) => crashed,
        Some(Status::REMOVING | Status::DEAD | Status::STOPPING | Status::EMPTY) | None => {
            State::Removing
        }
    }
}

type PortMap = std::collections::HashMap<String, Option<Vec<bollard::models::PortBinding>>>;

fn ports(map: PortMap) -> BTreeMap<u16, u16> {
    let pair = |(container, hosts): (String, Option<Vec<bollard::models::PortBinding>>)| {
        let container = container.strip_suffix("/tcp")?.parse().ok()?;
        let host = hosts?
            .into_iter()
            .find_map(|binding| binding.host_port?.parse().ok())?;
        Some((container, host))
    };
    map.into_iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::{Observed, State};
    use crate::docker::{Attachment, ContainerSpec, Limits, Published};
    use crate::machine::size::{Cpus, Memory};

    fn asked_for() -> ContainerSpec {
        ContainerSpec {
            name: "beyond-local.db".to_owned(),
            image: "beyond-postgres".to_owned(),
            env: vec![("KEY".to_owned(), "a=b".to_owned())],
            labels: [("dev.beyond.machine".to_owned(), "db".to_owned())].into(),
            limits: Some(Limits {
                memory: Memory::DEFAULT,
                cpus: Cpus::DEFAULT,
                shared_memory: 1 << 30,
                processes: 64,
            }),
            devices: vec![("/dev/loop7".to_owned(), "/dev/vdb".to_owned())],
            published: vec![Published {
                container: 5432,
                host: Some(6000),
            }],
            network: Some(Attachment {
                network: "beyond-local".to_owned(),
                link_local: [169, 254, 10, 1].into(),
                aliases: vec!["db".to_owned()],
            }),
            ..Default::default()
        }
    }

    /// Docker's answer to the request above, as far as the request decides it.
    fn answered(state: &str) -> Observed {
        let body = asked_for().body();
        let answer = serde_json::json!({
            "Id": "abc",
            "Name": "/beyond-local.db",
            "Image": "sha256:1",
            "Config": { "Image": body.image, "Labels": body.labels, "Env": body.env },
            "HostConfig": body.host_config,
            "NetworkSettings": { "Networks": { "beyond-local": { "NetworkID": "net1", "IPAddress": "172.18.0.3" } } },
            "State": serde_json::from_str::<serde_json::Value>(state).unwrap(),
        });
        Observed::from_answer(serde_json::from_value(answer).unwrap())
    }

    #[test]
    fn what_was_asked_for_is_read_back() {
        let seen = answered(r#"{"Status": "running", "ExitCode": 0}"#);
        assert_eq!(seen.name, "beyond-local.db");
        assert_eq!(
            (seen.memory, seen.cpus),
            (Some(Memory::DEFAULT), Some(Cpus::DEFAULT))
        );
        assert_eq!(seen.wanted_ports.get(&5432), Some(&6000));
        assert_eq!(seen.env.get("KEY").map(String::as_str), Some("a=b"));
        assert_eq!(
            seen.labels.get("dev.beyond.machine").map(String::as_str),
            Some("db")
        );
        assert_eq!(
            seen.networks.get("beyond-local").map(String::as_str),
            Some("net1")
        );
        assert_eq!(
            seen.devices.get("/dev/vdb").map(String::as_str),
            Some("/dev/loop7")
        );
        assert_eq!(
            seen.addresses.get("beyond-local"),
            Some(&[172, 18, 0, 3].into())
        );
        assert!(seen.open_ports.is_empty());
    }

    #[test]
    fn how_pid_1_ended_decides_what_a_machine_is() {
        let state = |text: &str| answered(text).state;
        assert_eq!(
            state(r#"{"Status": "created", "ExitCode": 128}"#),
            State::Created
        );
        assert_eq!(state(r#"{"Status": "paused"}"#), State::Paused);
        assert_eq!(
            state(r#"{"Status": "exited", "ExitCode": 0}"#),
            State::Stopped
        );
        assert_eq!(
            state(r#"{"Status": "exited", "ExitCode": 137, "OOMKilled": true}"#),
            State::Crashed {
                exit_code: 137,
                out_of_memory: true
            }
        );
        assert_eq!(
            state(r#"{"Status": "dead", "ExitCode": 1}"#),
            State::Removing
        );
    }

    #[test]
    fn a_container_can_do_nothing_that_it_was_not_given() {
        let host = asked_for().body().host_config.unwrap();
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(
            host.security_opt,
            Some(vec!["no-new-privileges".to_owned()])
        );
        let mounts = ContainerSpec {
            capabilities: vec!["SYS_ADMIN".to_owned()],
            ..asked_for()
        };
        let options = mounts.body().host_config.unwrap().security_opt.unwrap();
        assert_eq!(options, ["no-new-privileges", "apparmor=unconfined"]);
        assert_eq!(host.memory_swap, host.memory, "no swap on top");
        let bindings = host.port_bindings.unwrap();
        let binding = bindings["5432/tcp"].as_ref().unwrap();
        assert_eq!(binding[0].host_ip.as_deref(), Some("127.0.0.1"));
    }
}
