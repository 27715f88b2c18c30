/** Errors of the system between threads: a message that carries one keeps only its text, and what tells whose fault it is would be lost. */

export interface ThreadFailure {
  readonly message: string;
  readonly code: string | undefined;
  readonly errno: number | undefined;
  readonly syscall: string | undefined;
}

export function toFailure(error: unknown): ThreadFailure {
  const { message, code, errno, syscall } = error as NodeJS.ErrnoException;
  return { message, code, errno, syscall };
}

export function fromFailure({ message, ...rest }: ThreadFailure): Error {
  return Object.assign(new Error(message), rest);
}
