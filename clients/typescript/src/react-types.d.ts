// The part of React that the hooks use: the package is built without React's types.
declare module "react" {
  export function useEffect(effect: () => void | (() => void), dependencies: readonly unknown[]): void;
  export function useRef<T>(value: T): { current: T };
  export function useState<T>(initial: T): [T, (value: T | ((before: T) => T)) => void];
}
