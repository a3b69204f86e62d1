// In place of the application's login: verify your own session here, not a bare cookie.
export interface Session {
  userId: string;
  projectId: string;
}

export async function sessionOf(request: Request): Promise<Session | null> {
  const userId = /(?:^|; )user=(\w+)/.exec(request.headers.get("cookie") ?? "")?.[1];
  return userId ? { userId, projectId: `${userId}-album` } : null;
}
