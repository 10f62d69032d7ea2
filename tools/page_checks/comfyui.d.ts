// The parts of ComfyUI's page that the pack uses. Its own types aren't published for every version that we support.

declare module "*/scripts/api.js" {
  export const api: any;
}

declare module "*/scripts/app.js" {
  export const app: any;
}

declare var LiteGraph: any;
