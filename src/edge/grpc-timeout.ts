const UNIT_MS = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 } as const

/**
 * The `grpc-timeout` header in milliseconds; undefined where it is absent or malformed (a deadline
 * that cannot be read is no deadline). One to eight digits and a unit: gRPC over HTTP/2, "Requests".
 */
export function parseGrpcTimeout(value: string | undefined): number | undefined {
  if (value === undefined || !/^\d{1,8}[HMSmun]$/.test(value)) return undefined
  return Number(value.slice(0, -1)) * UNIT_MS[value.at(-1) as keyof typeof UNIT_MS]
}
