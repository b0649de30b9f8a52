/** Which SDK sent a request, by what its User-Agent says. */

/** An SDK or another program, as it names itself: not to be trusted. */
export interface Sdk {
  /** The language of an OpenTelemetry SDK (`Python`), else the name of the program (`curl`). */
  readonly name: string
  readonly version: string
}

const VERSION = '([\\w.+-]{1,40})'

/** The three ways in which the OpenTelemetry SDKs write it; a distribution may stand in front. */
const SDKS = [
  // OTel-OTLP-Exporter-Python/1.45.0, OTel OTLP Exporter Java/1.66.0
  new RegExp(`\\bOTel[- ]OTLP[- ]Exporter[- ]([A-Za-z.#+]{1,40})/v?${VERSION}`),
  // OTel Go OTLP over HTTP/protobuf metrics exporter/1.44.0
  new RegExp(`\\bOTel ([A-Za-z.#+]{1,40}) OTLP over [\\w/ ]{1,40}exporter/v?${VERSION}`),
]
/** RFC 9110 §10.1.5: the first product. Collectors have spaces in theirs. */
const PRODUCT = new RegExp(`^([A-Za-z][\\w.+ -]{0,60})/v?${VERSION}`)

/** Reads a User-Agent; undefined where it names no program with a version. */
export function sdkOf(userAgent: string): Sdk | undefined {
  for (const pattern of [...SDKS, PRODUCT]) {
    const [, name, version] = pattern.exec(userAgent) ?? []
    if (name !== undefined && version !== undefined) return { name, version }
  }
  return undefined
}
