/**
 * The programs of the stack under the names of their official images, so that docker/compose.yml is
 * used as it is. Grafana's server cannot be had where the tests run: there is no image of it.
 */
import type { Engine } from './docker-engine.ts'
import {
  type Build,
  buildImage,
  GATEWAY_IMAGE,
  importImage,
  type LocalImage,
} from './docker-images.ts'
import { tool } from './tools.ts'

/** What has to be installed for them. */
export const STACK_TOOLS = [
  'alertmanager',
  'busybox',
  'docker-compose',
  'otelcol',
  'prometheus-3',
  'promtool-3',
  'prometheus-node-exporter',
  'prometheus-blackbox-exporter',
] as const

const NOBODY = '65534:65534'

/** Prometheus's image, which the backup's is built of too. */
export function prometheusImage(): LocalImage {
  return {
    tag: 'prom/prometheus:v3.16.0',
    programs: {
      '/bin/prometheus': tool('prometheus-3'),
      '/bin/promtool': tool('promtool-3'),
      '/bin/wget': tool('busybox'),
    },
    owned: ['/prometheus'],
    user: NOBODY,
    changes: [
      'ENV PATH=/bin',
      'USER nobody',
      'WORKDIR /prometheus',
      'ENTRYPOINT ["/bin/prometheus"]',
      'CMD ["--config.file=/etc/prometheus/prometheus.yml","--storage.tsdb.path=/prometheus"]',
    ],
  }
}

function stackImages(): readonly LocalImage[] {
  return [
    prometheusImage(),
    {
      tag: 'otel/opentelemetry-collector-contrib:0.161.0',
      programs: { '/otelcol-contrib': tool('otelcol') },
      changes: [
        'USER 10001:10001',
        'ENTRYPOINT ["/otelcol-contrib"]',
        'CMD ["--config","/etc/otelcol-contrib/config.yaml"]',
      ],
    },
    {
      tag: 'prom/alertmanager:v0.28.1',
      programs: { '/bin/alertmanager': tool('alertmanager'), '/bin/wget': tool('busybox') },
      owned: ['/alertmanager'],
      user: NOBODY,
      changes: [
        'ENV PATH=/bin',
        'USER nobody',
        'WORKDIR /alertmanager',
        'ENTRYPOINT ["/bin/alertmanager"]',
      ],
    },
    {
      tag: 'prom/node-exporter:v1.9.1',
      programs: {
        '/bin/node_exporter': tool('prometheus-node-exporter'),
        '/bin/wget': tool('busybox'),
      },
      changes: ['ENV PATH=/bin', 'USER nobody', 'ENTRYPOINT ["/bin/node_exporter"]'],
    },
    {
      tag: 'prom/blackbox-exporter:v0.27.0',
      programs: {
        '/bin/blackbox_exporter': tool('prometheus-blackbox-exporter'),
        '/bin/wget': tool('busybox'),
      },
      changes: ['ENV PATH=/bin', 'ENTRYPOINT ["/bin/blackbox_exporter"]'],
    },
  ]
}

/** The image of the backup tool, from its Dockerfile as it is shipped. */
export function backupImage(): Build {
  return {
    tag: 'tollgate-backup:latest',
    dockerfile: 'docker/backup/Dockerfile',
    sources: [...GATEWAY_IMAGE.sources, 'docker/backup'],
    bases: [prometheusImage()],
  }
}

/** Puts all of them into an engine. */
export async function importStack(engine: Engine): Promise<void> {
  for (const image of stackImages()) await importImage(engine, image)
  for (const build of [GATEWAY_IMAGE, backupImage()]) await buildImage(engine, build)
}
