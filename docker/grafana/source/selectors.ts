/** Label matchers that are used again and again. Each names its job: agents may send metrics of any name. */

/** Metrics of the gateways that are chosen at the top. */
export const GATEWAY = 'job="tollgate",instance=~"$instance"'

/** Metrics of the machines that are chosen at the top. */
export const NODE = 'job="node",instance=~"$node"'

/** File systems on disks, as in rules/host.yml. */
export const DISK = `${NODE},fstype!~"tmpfs|ramfs|overlay|squashfs|iso9660|fuse.*|nsfs"`

/** Network devices of the machine itself: no loopback, no container's half of a pair. */
export const NETWORK = `${NODE},device!~"lo|veth.*|br-.*|docker.*|ifb.*"`

/** Jobs of prometheus.yml that are not agents. What an agent sends without a name of a service is in `agents`. */
export const NOT_AGENTS = 'tollgate|collector|prometheus|node|blackbox-tls|blackbox-grpc|backup'

/** What Prometheus itself writes about each scrape. */
const OF_SCRAPES = '__name__!~"up|scrape_.+|ALERTS.*|.*:.*"'

/** Everything that agents sent. */
export const FROM_AGENTS = `job!="",job!~"${NOT_AGENTS}",${OF_SCRAPES}`

/** The agents that are chosen at the top. */
export const AGENTS = 'job=~"$job",device=~"$device"'

/** Everything that they sent. */
export const CHOSEN = `${AGENTS},${OF_SCRAPES}`

/** So many lines can still be told apart; of more, the largest are drawn. */
export const most = (expr: string) => `topk(20, ${expr})`

/** Metrics of the gateways about the holders that are chosen at the top. */
export const HOLDER = 'job="tollgate",holder=~"$holder"'
