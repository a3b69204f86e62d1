import type { ReactNode } from "react";

const style = `
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
  textarea, input { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; margin: .25rem 0 1rem; }
  button { font: inherit; padding: .5rem 1rem; }
  .files { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
  img, video { width: 100%; border-radius: .5rem; }
`;

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <head>
        <title>Film studio</title>
        <style>{style}</style>
      </head>
      <body>{children}</body>
    </html>
  );
}
