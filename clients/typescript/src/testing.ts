export interface TestResult {
  success: boolean;
  /** The status and text of the response; missing without a response. */
  status?: number;
  response?: string;
  /** Why there was no response. */
  error?: string;
}

/** Posts a payload as JSON, and returns the response. It does not throw. */
export async function testWebhook(url: string, payload: unknown, headers: Record<string, string> = {}): Promise<TestResult> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: typeof payload === "string" ? payload : JSON.stringify(payload),
    });
    return { success: response.ok, status: response.status, response: await response.text() };
  } catch (error) {
    return { success: false, error: error instanceof Error ? error.message : String(error) };
  }
}

/** The body of a fal webhook in the dialect that is signed with a shared secret (x-fal-signature). */
export interface FalTestPayload {
  id: string;
  timestamp: string;
  request_id: string;
  status: "completed" | "failed" | "in_progress";
  result?: { images?: { url: string; width: number; height: number }[]; video?: { url: string; duration: number }; error?: string };
  metadata: { job_id: string; project_id: string; user_id: string; generation_type: "image" | "video" };
}

/** The body of a Last Frame webhook. */
export interface LastFrameTestPayload {
  id: string;
  timestamp: string;
  job_id: string;
  status: "completed" | "failed" | "processing";
  service: string;
  result?: { output_url?: string; duration?: number; error?: string };
  metadata: { project_id: string; user_id: string; original_job_id: string };
}

/** The status that a type of event has, such as "failed" for "generation.failed". */
function statusOf(type: string, running: "in_progress" | "processing"): "completed" | "failed" | typeof running {
  if (type.endsWith(".failed")) return "failed";
  return type.endsWith(".progress") || type.endsWith(".in_progress") || type.endsWith(".processing") ? running : "completed";
}

/** A test body of a source and type, such as ("fal", "generation.completed"), with new ids. */
export function generateTestPayload(source: "fal", type: string): FalTestPayload;
export function generateTestPayload(source: "lastframe", type: string): LastFrameTestPayload;
export function generateTestPayload(source: string, type: string): { id: string; timestamp: string; type: string };
export function generateTestPayload(source: string, type: string): object {
  const id = () => crypto.randomUUID();
  const base = { id: id(), timestamp: new Date().toISOString() };
  switch (source) {
    case "fal": {
      const status = statusOf(type, "in_progress");
      return {
        ...base,
        request_id: id(),
        status,
        ...(status === "completed" && { result: { images: [{ url: "https://example.com/generated-image.jpg", width: 1024, height: 1024 }] } }),
        ...(status === "failed" && { result: { error: "the generation failed" } }),
        metadata: { job_id: id(), project_id: id(), user_id: id(), generation_type: "image" },
      };
    }
    case "lastframe": {
      const status = statusOf(type, "processing");
      return {
        ...base,
        job_id: id(),
        status,
        service: "video-stitch",
        ...(status === "completed" && { result: { output_url: "https://example.com/stitched-video.mp4", duration: 120 } }),
        ...(status === "failed" && { result: { error: "the processing failed" } }),
        metadata: { project_id: id(), user_id: id(), original_job_id: id() },
      };
    }
    default:
      return { ...base, type };
  }
}
