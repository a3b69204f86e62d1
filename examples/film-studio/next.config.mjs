import { withPayload } from "@payloadcms/next/withPayload";

// The folder may be inside another project with a lock file of its own.
export default withPayload({ turbopack: { root: import.meta.dirname }, devIndicators: false }, { devBundleServerPackages: false });
