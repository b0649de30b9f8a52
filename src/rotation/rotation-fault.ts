/** Why a rotation cannot go on, in words for the operator, where neither a place nor a file is at fault. */
export class RotationFault extends Error {
  override readonly name = 'RotationFault'
}
